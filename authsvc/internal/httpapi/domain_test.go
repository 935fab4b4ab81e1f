package httpapi

import (
	"os"
	"regexp"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/authority"
)

// TestEveryCodeOfTheDomainHasAStatus reads the codes from the source, because Go
// cannot list constants: a code without a status would reach callers as 500.
func TestEveryCodeOfTheDomainHasAStatus(t *testing.T) {
	source, err := os.ReadFile("../authority/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`\bCode\w+ +Code += +"([a-z_]+)"`).FindAllSubmatch(source, -1)
	if len(codes) < 10 {
		t.Fatalf("found only %d codes", len(codes))
	}
	for _, code := range codes {
		if statuses[authority.Code(code[1])] == 0 {
			t.Errorf("%s has no status", code[1])
		}
	}
	if len(codes) != len(statuses) {
		t.Errorf("%d codes and %d statuses", len(codes), len(statuses))
	}
}
