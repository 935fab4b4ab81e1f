package wire

// TokenRequest is the form of POST /v1/introspect (RFC 7662 §2.1) and of
// POST /v1/revoke (RFC 7009 §2.1).
type TokenRequest struct {
	// Token may be anything: what is no token is not active.
	Token string `form:"token" validate:"required"`
	// Hint is only a hint: whatever it says changes nothing.
	Hint string `form:"token_type_hint"`
	// ClientID and ClientSecret are for services that show themselves in the form
	// (client_secret_post, RFC 6749 §2.3.1).
	ClientID     string `form:"client_id"`
	ClientSecret Secret `form:"client_secret"`
}

// Introspection is the answer of POST /v1/introspect (RFC 7662 §2.2). All but
// Active is absent where the token is not active.
type Introspection struct {
	Active   bool   `json:"active"`
	Scope    string `json:"scope,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// TokenType is Bearer for an access token and refresh_token for the other kind,
	// which no service must take in its place.
	TokenType string   `json:"token_type,omitempty"`
	Exp       int64    `json:"exp,omitempty"`
	Iat       int64    `json:"iat,omitempty"`
	Nbf       int64    `json:"nbf,omitempty"`
	Sub       string   `json:"sub,omitempty"`
	Aud       []string `json:"aud,omitempty"`
	Iss       string   `json:"iss,omitempty"`
	JTI       string   `json:"jti,omitempty"`
	SID       string   `json:"sid,omitempty"`
	Roles     []string `json:"roles,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	// Rev is there for every access token, 0 too.
	Rev *uint64 `json:"rev,omitempty"`
}

// Metadata is the answer of GET /.well-known/oauth-authorization-server: what of
// RFC 8414 §2 applies. There are no grants here that a third party could use.
type Metadata struct {
	Issuer                string   `json:"issuer"`
	JWKSURI               string   `json:"jwks_uri"`
	ResponseTypes         []string `json:"response_types_supported"`
	GrantTypes            []string `json:"grant_types_supported"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	IntrospectionAuth     []string `json:"introspection_endpoint_auth_methods_supported"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	RevocationAuth        []string `json:"revocation_endpoint_auth_methods_supported"`
	ServiceDocumentation  string   `json:"service_documentation"`
}

// Health is the answer of /healthz and, where all is well, of /readyz.
type Health struct {
	Status string `json:"status"` // ok
}
