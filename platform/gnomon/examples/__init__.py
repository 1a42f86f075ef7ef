"""Example apps that come with the platform; `gnomon demo` runs `payments`."""
