"""What a campaign found, in pandas: run it cell by cell in an editor that knows ``# %%``, or whole as a script.

::

    foreshock campaign examples/campaign.toml
    python examples/campaign_analysis.py store/campaigns/example

It takes a campaign's folder (or the one above it, which holds every campaign of that name), or a whole store.
"""

# %% What there is: one row for each time that a test was run.
import sys

import pandas as pd

import foreshock

source = sys.argv[1] if len(sys.argv) > 1 else "store"
tests = foreshock.load(source)
print(f"{len(tests)} tests, {tests['verdict'].value_counts()['invalid']} of them invalid")

# %% Verdicts by place in the matrix.
places = ["target", "workload", "nemeses"]
verdicts = tests.pivot_table(
    index=places, columns="verdict", values="seed", aggfunc="count", observed=True, fill_value=0
)
print("\nVerdicts\n", verdicts.to_string(), sep="")

# %% Which nemesis finds most, and how many faults that took.
ended = tests.dropna(subset=["verdict"])
by_nemesis = ended.groupby("nemeses", observed=True).agg(
    tests=("seed", "size"),
    failures=("verdict", lambda verdict: (verdict == "invalid").sum()),
    faults=("faults", "mean"),
)
by_nemesis["failures_per_test"] = by_nemesis["failures"] / by_nemesis["tests"]
print("\nBy nemesis\n", by_nemesis.sort_values("failures_per_test", ascending=False).to_string(), sep="")

# %% What the failures look like.
failures = ended[ended["verdict"] == "invalid"]
looks = failures.groupby(["checker", "core", "faults_in_force"], observed=True, dropna=False).size()
print("\nFailures\n", looks.sort_values(ascending=False).to_string(), sep="")

# %% The price of a fault: latencies while one is in force, and while there is none.
kept = ended.dropna(subset=["run"])
operations = pd.concat(
    [
        foreshock.load_history(row.run).assign(target=row.target)
        for row in kept.drop_duplicates("nemeses").itertuples()
    ]
)
operations = operations[operations["type"] == "ok"]
when = operations["faults"].astype(str).replace("", "no fault").rename("in force")
latency = operations.groupby(["target", when], observed=True)["latency_ms"].quantile([0.5, 0.99]).unstack()
print("\nLatency in ms\n", latency.rename(columns={0.5: "p50", 0.99: "p99"}).round(1).to_string(), sep="")

# %% How long the newest failure was in the making: its faults, and the command that runs it again.
if len(failures):
    newest = failures.sort_values("started").iloc[-1]
    print("\nThe newest failure\n", newest["reason"], "\nagain: ", newest["replay"], sep="")
    if pd.notna(newest["run"]):
        print(foreshock.load_faults(newest["run"]).to_string())
