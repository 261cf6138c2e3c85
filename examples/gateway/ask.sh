#!/bin/sh
# The gateway by curl. Its address is the first word after the name: sh ask.sh http://localhost:8000
set -eu
url=${1:-http://localhost:8000}
json='content-type: application/json'

# The policy decides who answers; -i shows the headers that say who it was, and why.
curl -sSi "$url/v1/chat/completions" -H "$json" \
  -d '{"model": "auto", "messages": [{"role": "user", "content": "tom has 12 pens, buys 5. how many?"}]}'
echo

# A stream from the cloud, with what it used.
curl -sSN "$url/v1/chat/completions" -H "$json" \
  -d '{"model": "cloud", "stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "tom has 12 pens, buys 5. how many?"}]}'

# An error instead of the local answer where the cloud cannot be had, within two seconds.
curl -sS "$url/v1/chat/completions" -H "$json" -H 'x-understudy-insist: true' -H 'x-deadline-ms: 2000' \
  -d '{"model": "cloud", "messages": [{"role": "user", "content": "tom has 12 pens, buys 5. how many?"}]}'
echo

# Every name that a request may give as its model.
curl -sS "$url/v1/models"
