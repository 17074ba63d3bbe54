"""Tables, figures, a report and a track explorer page, all made from existing results."""
