"""The node program: standard library only, shipped as one zipapp, also run inside the simulator."""
