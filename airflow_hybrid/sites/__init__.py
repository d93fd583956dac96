# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What happens at places where jobs run."""
