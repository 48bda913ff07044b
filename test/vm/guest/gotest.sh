# gotest PACKAGE REGEX: the package's tests whose names match; each is a check.
gotest() {
    export PATH=$PATH:/srv GORACE=
    (cd "/srv/src/$1" && "/srv/tests/$(echo "$1" | tr / _).test" -test.v -test.timeout 20m -test.run "$2" >/tmp/out 2>&1 || echo "--- FAIL: exit status $?" >>/tmp/out)
    sed -n 's/^--- PASS: /ok /p' /tmp/out
    grep -q '^--- ' /tmp/out || echo "--- FAIL: no test matches $2" >>/tmp/out
    if grep -q -E '^--- (FAIL|SKIP)' /tmp/out; then
        cat /tmp/out
        grep -E '^--- (FAIL|SKIP)' /tmp/out >>/tmp/failed
    fi
}
