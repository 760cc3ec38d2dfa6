"""Word statistics of a text: counts, the most frequent words, and the Automated Readability Index."""

import collections
import json
import re
import sys

# words that say nothing about what a text is about
COMMON = set("""a an and any are as at be been but by can do for from had has have he her his if in into is it its
may more must no nor not of on only or other our shall she should so such than that the their them then there these
they this those to under upon was we were what when which who will with within without would you your""".split())

asked = json.load(sys.stdin)
text = asked["text"]
words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text)
sentences = max(1, len(re.findall(r"[^.!?]+[.!?]+(?=\s|$)", text)))
letters = sum(len(word) for word in words)
count = max(1, len(words))
index = 4.71 * letters / count + 0.5 * count / sentences - 21.43
frequent = collections.Counter(word.lower() for word in words if word.lower() not in COMMON and len(word) > 1)
if index < 6:
    reader = "primary school"
elif index < 13:
    reader = "secondary school"
else:
    reader = "university"
# equal counts by the alphabet, so that the same text always gives the same report
top = sorted(frequent.items(), key=lambda item: (-item[1], item[0]))[: asked["top"]]
print(json.dumps({
    "count": len(words),
    "distinct": len({word.lower() for word in words}),
    "sentences": sentences,
    "readability": round(index, 1),
    "reader": reader,
    "top": [{"word": word, "count": times} for word, times in top],
}))
