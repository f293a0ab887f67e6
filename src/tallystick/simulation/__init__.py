"""The pretend world: workers that cheat, in every way the protocol must survive. Only the command line hires them."""
