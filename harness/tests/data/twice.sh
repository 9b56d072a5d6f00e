# Writes a result. It knows how often it was interrupted, up to twice, and after that it leaves the wrong one.
cd "$1" || exit 1
[ -e running ] && if [ -e once ]; then : > twice; else : > once; fi
: > running
echo one > first
result=right
[ -e twice ] && result=wrong
echo two > second
echo $result > result
rm -f twice once running first second
