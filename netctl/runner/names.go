package runner

import (
	"math/rand/v2"
	"strings"
)

const adjectives = `amber bold brave brisk calm clever cool cosy crisp curious daring deft
eager early fair fancy fleet fond frank free fresh gentle glad golden good grand happy hardy
honest jolly keen kind late lively loyal lucid lucky mellow merry mild modest neat nimble noble
patient plain polite proud quick quiet rapid ready sharp shy silent simple sober solid steady
still sunny swift tidy vivid warm wise witty young zesty`

const nouns = `baran bell berners blanch boggs braun cerf clark cohen crocker davies deering dijkstra
engelbart estrin farber floyd hamming hopper huitema jacobson kahn kahan karn kleinrock knuth lamport
licklider liskov lovelace lynch metcalfe mills minsky mockapetris nagle nyquist partridge perlman
pike postel pouzin rekhter ritchie roberts rosen saltzer shannon shoch sunshine sutherland taylor
thacker thompson tomlinson torvalds turing vixie wilkes wirth zimmermann`

// RandomName is for a container nobody named: an adjective and somebody who
// built networks or the machines on them.
func RandomName() string {
	a, n := strings.Fields(adjectives), strings.Fields(nouns)
	return a[rand.IntN(len(a))] + "_" + n[rand.IntN(len(n))]
}
