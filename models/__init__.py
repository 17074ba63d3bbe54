"""The models of the papers: their networks, weights and training loop; and the baselines beside.

The baselines (GMM-UBM, i-vector, PLDA) need no network: only modules with one import Keras.
"""
