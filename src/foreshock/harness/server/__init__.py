"""``foreshock serve``: a store in the browser while tests run. It reads, and nothing else."""
