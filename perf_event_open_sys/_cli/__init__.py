"""The subcommands of ``python -m perf_event_open_sys``, a module each; imported one by one, when they are asked for."""
