"""For tests of apps: a pytest plug-in with the fixture `edge`, a field station of which every second is in your hand.

`plugin` is what pytest loads, and imports nothing more until a test asks for the fixture. `station.Edge` is the
fixture, for whoever uses something else than pytest.
"""

from __future__ import annotations
