"""The device, server and link profiles that are shipped."""
