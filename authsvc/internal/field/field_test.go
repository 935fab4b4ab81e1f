package field_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/authbus/authbus/authsvc/internal/field"
)

func TestInFindsAllThatIsWrong(t *testing.T) {
	errReason := errors.New("is too long")
	var wrong field.Checks
	wrong.Want(true, "Right", "is required")
	wrong.Want(false, "Issuer", "is required")
	wrong.Add("Right", nil)
	wrong.Add("Name", errReason)
	err := errors.Join(errors.New("something else"), fmt.Errorf("configuration: %w", wrong.Err()))
	found := field.In(err)
	if len(found) != 2 || found[0].Error() != "Issuer: is required" || found[1].Error() != "Name: is too long" {
		t.Errorf("found %v", found)
	}
	if !errors.Is(err, errReason) {
		t.Error("the reason is lost")
	}
}

func TestNothingIsWrong(t *testing.T) {
	var wrong field.Checks
	wrong.Want(true, "Issuer", "is required")
	if err := wrong.Err(); err != nil {
		t.Errorf("it says %v", err)
	}
	for _, err := range []error{nil, errors.New("something else")} {
		if found := field.In(err); found != nil {
			t.Errorf("in %v it finds %v", err, found)
		}
	}
}

func TestRename(t *testing.T) {
	err := fmt.Errorf("starting: %w", errors.Join(field.New("Listen", "is taken"), field.New("Name", "is required")))
	if got := field.Rename(err, map[string]string{"Listen": "Gateway"}).Error(); got != "Gateway: is taken\nName: is required" {
		t.Errorf("it says %q", got)
	}
	if other := errors.New("something else"); !errors.Is(field.Rename(other, nil), other) || field.Rename(nil, nil) != nil {
		t.Error("it changes what is no error of a field")
	}
}
