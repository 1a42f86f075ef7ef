raise RuntimeError("nobody runs this")
