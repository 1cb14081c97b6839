#!/bin/sh
# Marketing: sums up the history of the git repository in the working folder. What it prints is its
# result, but for the lines that report progress.
#
#     sinew agent run --role marketing -- sh examples/team/marketing.sh
set -eu

echo '{"progress":"reading the history"}'
since=$(git describe --tags --abbrev=0 2>/dev/null || true)
range=HEAD
if [ -n "$since" ] && [ "$(git rev-list --count "$since..HEAD")" -gt 0 ]; then
    range="$since..HEAD"
fi
echo "$(git rev-list --count "$range") commits by $(git log --format=%an "$range" | sort -u | wc -l | tr -d ' ') people. By area, the busiest first:"
# A subject is "area: what is done"; what has no area counts as "other".
git log --no-merges --format=%s "$range" | awk '
    { area = "other"; what = $0
      if (match($0, /^[A-Za-z0-9_., -]+: /)) { area = substr($0, 1, RLENGTH - 2); what = substr($0, RLENGTH + 1) }
      count[area]++
      if (!(area in newest)) newest[area] = what }
    END { for (area in count) printf "%d\t- %s (%d): %s\n", count[area], area, count[area], newest[area] }
' | sort -rn | head -n 8 | cut -f 2-
