//go:build !race

package verifier_test

// burst is how many ids TestABurst revokes.
const burst = 100_000
