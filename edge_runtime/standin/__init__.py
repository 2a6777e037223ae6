"""A stand-in for AWS IoT Core, for the demo, simulation and tests."""
