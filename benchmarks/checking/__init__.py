"""The parts of the checker's benchmark: the peer, public histories, generated ones of any size, adversarial ones."""
