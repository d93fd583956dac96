# Licensed under the Apache License, Version 2.0; see the LICENSE file.
"""What a document may name: files below its roots, images by the grammar of registries."""
