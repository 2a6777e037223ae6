"""AWS's services for devices, on the stand-in's broker: shadows, jobs and fleet provisioning."""
