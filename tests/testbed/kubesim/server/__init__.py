# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""The API over HTTP: requests, watches, streams, and the harm that tests do."""
