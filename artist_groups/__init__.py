"""The 2018 paper (agf2018): artist groups as training targets for genre classification."""
