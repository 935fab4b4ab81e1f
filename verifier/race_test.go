//go:build race

package verifier_test

// The race detector makes everything several times slower.
func init() { burst = 20_000 }
