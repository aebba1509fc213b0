"""Why is a model file slow, why is what it gives wrong: values in, findings out."""
