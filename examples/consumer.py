"""A durable consumer: counts bytes by source namespace, goes on where it stopped, and says what it missed.

    flowd run -f examples/filters --runtime-dir ./run --state-dir ./state &
    flowd send --runtime-dir ./run flows.log
    python examples/consumer.py ipc://./run/consume.sock

It ends when it has everything that is stored. Without `until` it would wait for more.
"""

import sys
from collections import Counter

import flowd

sent_bytes: Counter[str] = Counter()
with flowd.Consumer(sys.argv[1], name="by-namespace", stream="flows", until="newest", timeout_s=10) as consumer:
    for batch in consumer:
        if batch.missed:
            print(f"{batch.missed} lines are not stored any more: {batch.gap}")
        for record in batch.records():
            sent_bytes[record["source_namespace"]] += record["bytes_out"]
        consumer.commit()  # now: what is counted does not come again

for namespace, count in sent_bytes.most_common(3):
    print(f"{namespace:20}{count:16,} bytes")
