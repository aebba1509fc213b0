"""Makes YOLO segmentation and detection models fit the device they must run on."""

__version__ = "0.1.0"
