package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Why a document is not an event that this package can hand out. The values are stable.
const (
	ReasonMalformed      = "malformed"       // not the JSON of a CloudEvent in structured mode
	ReasonUnknownType    = "unknown_type"    // a CloudEvent of a type that is not in the contract
	ReasonUnknownVersion = "unknown_version" // a known type in a version that is not
	ReasonInvalid        = "invalid"         // breaks the schema of its type
)

// DecodeError says why [Decode] refused a document.
type DecodeError struct {
	// Reason is one of the Reason constants.
	Reason string
	// Type is the CloudEvents type as found; empty where there was none to find.
	Type string
	// Err is the detail. It is a [*ValidationError] where fields are at fault.
	Err error
}

func (e *DecodeError) Error() string {
	if e.Type == "" {
		return fmt.Sprintf("decoding event: %s: %v", e.Reason, e.Err)
	}
	return fmt.Sprintf("decoding event of type %.128q: %s: %v", e.Type, e.Reason, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// The attributes of the envelope that are the same in every event.
const (
	specVersion     = "1.0"
	dataContentType = "application/json"
)

// sequenceDigits pads the sequence attribute, because the CloudEvents extension
// wants it ordered as a string. It is the length of the greatest uint64.
const sequenceDigits = 20

// envelope is the document on the wire, in the order in which people read it.
type envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Source          string          `json:"source"`
	Type            string          `json:"type"`
	Subject         string          `json:"subject,omitempty"`
	Time            string          `json:"time"`
	Sequence        string          `json:"sequence"`
	DataContentType string          `json:"datacontenttype"`
	DataSchema      string          `json:"dataschema"`
	Data            json.RawMessage `json:"data"`
}

// MarshalJSON returns the CloudEvents 1.0 document of the event in structured
// JSON mode. It does not validate; [Publish] does.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Data == nil {
		return nil, errors.New("encoding event: no data")
	}
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, fmt.Errorf("encoding event: %w", err)
	}
	t := e.Data.Type()
	return json.Marshal(envelope{
		SpecVersion:     specVersion,
		ID:              e.ID,
		Source:          e.Source,
		Type:            t.CloudEvent(),
		Subject:         e.Data.Subject(),
		Time:            e.Time.UTC().Format(time.RFC3339Nano),
		Sequence:        fmt.Sprintf("%0*d", sequenceDigits, e.Sequence),
		DataContentType: dataContentType,
		DataSchema:      t.dataSchema(),
		Data:            data,
	})
}

// UnmarshalJSON is [Decode] for encoding/json.
func (e *Event) UnmarshalJSON(doc []byte) error {
	decoded, err := Decode(doc)
	if err != nil {
		return err
	}
	*e = decoded
	return nil
}

// Decode reads the CloudEvents document of an event and validates it. The error
// is a [*DecodeError].
//
// Members that the contract does not name are ignored, so that an event may gain
// members, and the envelope extension attributes, within its version.
func Decode(doc []byte) (Event, error) {
	if err := checkJSON(doc); err != nil {
		return Event{}, &DecodeError{Reason: ReasonMalformed, Err: err}
	}
	var env envelope
	if err := json.Unmarshal(doc, &env); err != nil {
		return Event{}, &DecodeError{Reason: ReasonMalformed, Type: env.Type, Err: err}
	}
	t, version := parseType(env.Type)
	decode, known := kinds()[t]
	switch {
	case env.SpecVersion != specVersion:
		err := fmt.Errorf("specversion is %.32q, not %q", env.SpecVersion, specVersion)
		return Event{}, &DecodeError{Reason: ReasonMalformed, Type: env.Type, Err: err}
	case !known:
		return Event{}, &DecodeError{Reason: ReasonUnknownType, Type: env.Type, Err: errors.New("not in the contract")}
	case version != typeVersion:
		err := fmt.Errorf("only version %s is known", typeVersion)
		return Event{}, &DecodeError{Reason: ReasonUnknownVersion, Type: env.Type, Err: err}
	}
	e, err := env.event(t, decode)
	if err != nil {
		return Event{}, &DecodeError{Reason: ReasonInvalid, Type: env.Type, Err: err}
	}
	return e, nil
}

// event turns the envelope of an event of type t into the event, and validates it.
func (env envelope) event(t Type, decode func([]byte) (Data, error)) (Event, error) {
	if env.DataContentType != dataContentType {
		return Event{}, fmt.Errorf("datacontenttype is not %s", dataContentType)
	}
	if env.DataSchema != t.dataSchema() {
		return Event{}, fmt.Errorf("dataschema is not %s", t.dataSchema())
	}
	sequence, err := parseSequence(env.Sequence)
	if err != nil {
		return Event{}, err
	}
	at, err := parseTime(env.Time)
	if err != nil {
		return Event{}, err
	}
	if len(env.Data) == 0 {
		return Event{}, errors.New("data is missing")
	}
	data, err := decode(env.Data)
	if err != nil {
		return Event{}, fmt.Errorf("decoding data: %w", err)
	}
	if env.Subject != data.Subject() {
		return Event{}, errors.New("subject is not the sub of data")
	}
	e := Event{ID: env.ID, Source: env.Source, Time: at, Sequence: sequence, Data: data}
	return e, e.validate()
}

// validate checks the envelope, the data, and what struct tags cannot say.
func (e Event) validate() error {
	if err := Validate(e); err != nil {
		return err
	}
	if _, known := kinds()[e.Data.Type()]; !known {
		return fmt.Errorf("type %q is not in the contract", e.Data.Type())
	}
	if _, err := url.Parse(e.Source); err != nil {
		return errors.New("source is not a URI reference")
	}
	for _, c := range []byte(e.ID) { // it travels in a header, too
		if c < '!' || c > '~' {
			return errors.New("id is not in printable ASCII without spaces")
		}
	}
	return nil
}

func parseSequence(s string) (uint64, error) {
	sequence, err := strconv.ParseUint(s, 10, 64)
	if err != nil || len(s) != sequenceDigits {
		return 0, fmt.Errorf("sequence is not a number of %d digits", sequenceDigits)
	}
	return sequence, nil
}

// parseTime reads RFC 3339 in UTC with at most nine digits of a second's
// fraction. UnmarshalText is the strict reader of package time, but for commas.
func parseTime(s string) (time.Time, error) {
	var t time.Time
	const longest = len("2006-01-02T15:04:05.999999999Z")
	err := t.UnmarshalText([]byte(s))
	if err != nil || !strings.HasSuffix(s, "Z") || strings.Contains(s, ",") || len(s) > longest {
		return time.Time{}, errors.New("time is not RFC 3339 in UTC")
	}
	return t, nil
}
