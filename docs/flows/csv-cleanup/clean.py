"""A CSV as it comes from people, to rows with the same names and plain values."""

import csv
import io
import json
import sys

text = json.load(sys.stdin).lstrip("\ufeff")
try:
    dialect = csv.Sniffer().sniff(text[:4096], delimiters=",;\t")
except csv.Error:
    dialect = csv.excel
rows = []
for number, row in enumerate(csv.DictReader(io.StringIO(text), dialect=dialect), start=2):
    # a row with more values than the heading has them under None
    plain = {(name or "more").strip().lower(): value.strip() if isinstance(value, str) else value
             for name, value in row.items()}
    if not any(plain.values()):
        continue
    plain["email"] = (plain.get("email") or "").lower()
    plain["price"] = (plain.get("price") or "").replace("€", "").replace(",", ".").strip()
    rows.append({"line": number, **plain})
print(json.dumps(rows))
