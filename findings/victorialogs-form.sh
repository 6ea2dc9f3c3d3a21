#!/usr/bin/env bash
# VictoriaLogs 1.52.1 answers 200 to lines of JSON whose Content-Type is that of an HTML form, which curl sends with --data
# and --data-binary unless told otherwise, and stores nothing: neither its answer nor its log has a word about it. The same
# lines with another Content-Type are stored. netconsd.modules.victorialogs names its own (tests/streams/test_victorialogs.py).
#
# Needs Go 1.21 or newer. Sends a line as curl does by itself, and one as application/stream+json; prints the answers, and
# what a search finds. Fails if the first one is found or refused.
set -euo pipefail
version=v1.52.1
address=127.0.0.1:29428

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; wait; chmod -R u+w "$work"; rm -rf "$work"' EXIT
GOBIN=$work/bin GOTOOLCHAIN=auto go install \
    -ldflags "-X github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version=victoria-logs-$version" \
    "github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs@$version"
"$work/bin/victoria-logs" --version
"$work/bin/victoria-logs" -storageDataPath="$work/data" -httpListenAddr="$address" 2>"$work/log" &
server=$!
until curl --silent --fail --output /dev/null "http://$address/health"; do sleep 0.2; done

send() { # TEXT OPTIONS of curl...
    local text=$1
    shift
    curl --silent --show-error --write-out "$text: %{http_code} \"%{errormsg}\"\n" "$@" \
        --data-binary "{\"_msg\":\"$text\",\"_time\":\"$(date -u +%FT%TZ)\"}" \
        "http://$address/insert/jsonline?_stream_fields=host"
}
send as-a-form | tee "$work/answer"
send as-json --header 'Content-Type: application/stream+json'
curl --silent "http://$address/internal/force_flush"
curl --silent --data-urlencode 'query=*' "http://$address/select/logsql/query" >"$work/found"
echo "found: $(cat "$work/found")"
echo "in the log: $(grep -ciE 'warn|error' "$work/log" || true) warnings and errors"
grep -q as-json "$work/found" || { echo 'The second line is not there.' >&2; exit 1; }
if ! grep -q 200 "$work/answer" || grep -q as-a-form "$work/found"; then echo 'The behaviour has changed.' >&2; exit 1; fi
