# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""Lost outputs of jobs are made again, by the task that misses them."""
