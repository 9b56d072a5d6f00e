# Writes a result. It knows how often it was interrupted, and after the second time it leaves the wrong one.
cd "$1" || exit 1
[ -e running ] && echo x >> interrupted
: > running
echo one > first
result=right
[ "$(cat interrupted 2>/dev/null | wc -l)" -ge 2 ] && result=wrong
echo two > second
echo $result > result
rm -f interrupted running first second
