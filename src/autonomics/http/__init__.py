"""The HTTP door: each request is one question to the control plane, each error one problem.

Nothing is imported here: the command line needs `client` alone, and must not pay for the server.
"""
