package events

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// The parts of a type's name in the CloudEvents envelope, and of its schema's URI.
const (
	typePrefix  = "authbus."
	typeVersion = "v1"

	schemaPrefix = "urn:authbus:schema:"
)

// Types returns every type of event that this package knows, sorted.
func Types() []Type {
	types := make([]Type, 0, len(kinds()))
	for t := range kinds() {
		types = append(types, t)
	}
	slices.Sort(types)
	return types
}

// CloudEvent returns the type as the envelope names it: authbus.login.succeeded.v1.
func (t Type) CloudEvent() string { return typePrefix + string(t) + "." + typeVersion }

// Schema returns the URI of the JSON Schema of the type's whole document. The
// schema of its data alone is the anchor #data in it.
func (t Type) Schema() string { return schemaPrefix + string(t) + "." + typeVersion }

func (t Type) dataSchema() string { return t.Schema() + "#data" }

// kinds is the one registry: how the data of each type is decoded. It is built
// once and only read from then on.
var kinds = sync.OnceValue(func() map[Type]func([]byte) (Data, error) {
	return map[Type]func([]byte) (Data, error){
		TypeAccountRegistered:    decodeData[AccountRegistered],
		TypeAccountDisabled:      decodeData[AccountDisabled],
		TypeAccountEnabled:       decodeData[AccountEnabled],
		TypeAccountDeleted:       decodeData[AccountDeleted],
		TypePasswordChanged:      decodeData[PasswordChanged],
		TypeLoginSucceeded:       decodeData[LoginSucceeded],
		TypeLoginFailed:          decodeData[LoginFailed],
		TypeSessionRefreshed:     decodeData[SessionRefreshed],
		TypeSessionEnded:         decodeData[SessionEnded],
		TypeSessionRevoked:       decodeData[SessionRevoked],
		TypeSessionReuseDetected: decodeData[SessionReuseDetected],
		TypeTokenRevoked:         decodeData[TokenRevoked],
		TypeUserRevoked:          decodeData[UserRevoked],
		TypeEveryoneRevoked:      decodeData[EveryoneRevoked],
		TypeKeyPublished:         decodeData[KeyPublished],
		TypeKeyActivated:         decodeData[KeyActivated],
		TypeKeyRetired:           decodeData[KeyRetired],
		TypeKeyRevoked:           decodeData[KeyRevoked],
		TypeCertificateRevoked:   decodeData[CertificateRevoked],
	}
})

// decodeData decodes into a struct and returns it by value.
func decodeData[T Data](raw []byte) (Data, error) {
	var data T
	if err := json.Unmarshal(raw, &data); err != nil {
		return nil, err
	}
	return data, nil
}

// parseType splits the envelope's type attribute. The type is empty where the
// name is none of authbus, and version whatever follows the type's last dot.
func parseType(name string) (t Type, version string) {
	rest, ok := strings.CutPrefix(name, typePrefix)
	dot := strings.LastIndexByte(rest, '.')
	if !ok || dot < 0 {
		return "", ""
	}
	return Type(rest[:dot]), rest[dot+1:]
}
