"""The stages of a run, one verb a file: VERSION, LIBRARIES, Inputs, Outputs and `run(inputs, tools, out)`."""
