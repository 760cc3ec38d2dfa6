# Errors and warnings of a log. Standard input is the log as a JSON string; what a quote is in it sed writes as \x22,
# all other escapes are those of printf '%b'.
set -eu
export LC_ALL=C
json=$(sed 's/\\"/\\x22/g')
json=${json#\"}

printf '%b' "${json%\"}" | awk '
  function quoted(text,    safe, i, character) {
    for (i = 1; i <= length(text) && i <= 200; i++) {
      character = substr(text, i, 1)
      safe = safe (character == "\\" || character == "\"" ? "\\" : "") (character < " " ? " " : character)
    }
    if (length(text) > 200) sub(/[\300-\377][\200-\277]*$/, "", safe)   # no half of a UTF-8 character
    return "\"" safe "\""
  }
  { line = tolower($0) }
  line ~ /(^|[^a-z-])(error|fatal|panic|critical)([^a-z-]|$)/ { errors++; if (!first_error) first_error = $0; next }
  line ~ /(^|[^a-z-])warn(ing)?([^a-z-]|$)/ { warnings++; if (!first_warning) first_warning = $0 }
  END { printf "{\"lines\": %d, \"errors\": %d, \"warnings\": %d, \"first\": %s}\n", NR, errors, warnings,
               quoted(first_error ? first_error : first_warning) }'
