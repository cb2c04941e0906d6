"""flagloop as an adapter of ../shared/bench/peers/run.py.

    .venv/bin/python ../shared/bench/peers/run.py bench --adapter tests/bench/flagloop_adapter.py

What is measured is the public `Client.variant` with a plain dict. In W4 exposures go over HTTP
to the harness's sink, and `exposures()` is what the sink has acknowledged.
"""

import json

from peerbench import COUNTRIES, TARGET_COUNTRIES, Adapter, register

RULES = (
    {"country": TARGET_COUNTRIES},
    {"plan": "pro"},
    {"app_version": {"semver_gte": "2.3.0"}},
    {"email": {"ends_with": "@example.com"}},
    {"age": {"gt": 30}},
)
assert COUNTRIES


@register
class Flagloop(Adapter):
    """The SDK as an application uses it."""

    NAME, PACKAGE, IMPORT = "flagloop", None, "import flagloop; flagloop.Client"
    HASH = "murmur3 32, seeded by the salt"

    def make_config(self, w):
        """The server's JSON for this workload."""
        flags = {}
        for key in w.keys:
            rules = []
            if w.kind == "rules":
                rules = [
                    {"name": f"rule{i}", "when": when, "serve": "forced"}
                    for i, when in enumerate(RULES)
                ]
            split = [[name, f"{percent}%"] for name, percent in w.split()]
            rules.append({"name": "split", "split": split})
            flags[key] = {
                "variants": {name: name for name in w.values()},
                "default": w.split()[0][0],
                "rules": rules,
            }
        return json.dumps({"format": 1, "revision": "bench.1", "flags": flags})

    def load(self, text):
        """A client ready to evaluate; exposures only in W4, to the harness's sink."""
        import flagloop

        options = {"exposures": False}
        if self.w.events:
            options = {"url": self.w.sink, "key": "fl_srv_bench", "queue": 2_000_000}
        self.client = flagloop.Client.from_document(json.loads(text), **options)

    def evaluator(self, key):
        """`client.variant` with a fresh plain dict, as the other adapters do."""
        variant = self.client.variant
        return lambda uid, attrs: variant(key, {"key": uid, **attrs})

    def prebuilt(self, key):
        """The dict made beforehand."""
        variant = self.client.variant
        return (lambda uid, attrs: {"key": uid, **attrs}), (lambda user: variant(key, user))

    def evaluate_all(self):
        """Every flag for one user."""
        decide_all = self.client.decide_all
        return lambda uid, attrs: len(decide_all({"key": uid, **attrs}))

    def flush(self):
        """Wait until the sink has everything."""
        self.client.flush(60)

    def exposures(self):
        """What the sink acknowledged; a loss is an error of the run."""
        delivery = self.client.status()["delivery"]
        assert not delivery["lost"], delivery
        return delivery["sent"]
