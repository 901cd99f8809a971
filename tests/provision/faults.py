class ServiceMissing(Exception):
    """The service's programs are not installed on this machine."""


class ServiceBroken(Exception):
    """The service is installed, but did not start or stop as it should."""
