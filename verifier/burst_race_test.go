//go:build race

package verifier_test

// burst is how many ids TestABurst revokes. The race detector makes everything
// several times slower.
const burst = 20_000
