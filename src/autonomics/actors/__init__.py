"""Where the domain meets the runtime: the actors of the control plane, and the doors' way in."""
