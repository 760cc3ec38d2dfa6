# Lines of a text: how many, how long (in bytes), how many hold a pattern. Standard input is the JSON list [pattern, text].
#
# JSON's escapes (\n, \\, \uXXXX) are those of printf '%b', all but the one of the quote, which sed writes in another way:
# so bash takes the two strings out by itself.
set -eu
export LC_ALL=C
json=$(sed 's/\\"/\\x22/g')
[[ $json =~ ^\[[[:space:]]*\"([^\"]*)\"[[:space:]]*,[[:space:]]*\"([^\"]*)\"[[:space:]]*\]$ ]] ||
  { echo "the input is not [pattern, text]" >&2; exit 1; }
printf -v pattern '%b' "${BASH_REMATCH[1]}"

printf '%b' "${BASH_REMATCH[2]}" | PATTERN=$pattern awk '
  BEGIN { pattern = tolower(ENVIRON["PATTERN"]) }
  /^[[:space:]]*$/ { empty++ }
  tolower($0) ~ pattern { matches++ }
  length($0) > longest { longest = length($0) }
  END { printf "{\"lines\": %d, \"empty\": %d, \"longest\": %d, \"matches\": %d}\n", NR, empty, longest, matches }'
