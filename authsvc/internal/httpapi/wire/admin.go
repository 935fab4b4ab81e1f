package wire

import "time"

// PageRequest asks for one page of a list.
type PageRequest struct {
	Limit  int    `query:"limit" validate:"omitempty,min=1,max=500"`
	Cursor string `query:"cursor" validate:"max=512"`
}

// AccountsRequest asks for one page of the accounts whose user name or e-mail
// address contains Search.
type AccountsRequest struct {
	Search string `query:"search" validate:"max=256"`
	Limit  int    `query:"limit" validate:"omitempty,min=1,max=500"`
	Cursor string `query:"cursor" validate:"max=512"`
}

// AccountRequest names an account in the path: its sub, user name or e-mail address.
type AccountRequest struct {
	Sub string `path:"sub" validate:"required,max=256"`
}

// AccountActionRequest disables or enables an account.
type AccountActionRequest struct {
	Sub    string `path:"sub" validate:"required,max=64,printascii"`
	Reason string `json:"reason,omitempty" validate:"max=256"`
}

// AdminEndSessionRequest ends anybody's session.
type AdminEndSessionRequest struct {
	SID    string `path:"sid" validate:"required,max=64,printascii"`
	Reason string `query:"reason" validate:"max=256"`
}

// SigningKey is a key that signs access tokens. It holds no private part.
type SigningKey struct {
	KID       string    `json:"kid"`
	Alg       string    `json:"alg"`
	State     string    `json:"state"` // published, active, retiring, retired or killed
	CreatedAt time.Time `json:"created_at"`
	// ActivatedAt is when it began to sign, or will; RetiresAt when it leaves the
	// JWKS. Both are absent while they are not known.
	ActivatedAt *time.Time `json:"activated_at,omitempty"`
	RetiresAt   *time.Time `json:"retires_at,omitempty"`
}

// SigningKeys is every key there is.
type SigningKeys struct {
	Keys []SigningKey `json:"keys"`
}

// KillKeyRequest kills a signing key: every token that it signed dies.
type KillKeyRequest struct {
	KID     string `path:"kid" validate:"required,max=64,printascii"`
	Reason  string `json:"reason" validate:"required,max=256"`
	Confirm bool   `json:"confirm,omitempty"`
}

// ServiceRequest is the body of POST /v1/admin/services.
type ServiceRequest struct {
	ID string `json:"id" validate:"required,max=64"`
	// Audiences are those whose tokens the service may ask about; default its id.
	Audiences []string `json:"audiences,omitempty" validate:"omitempty,min=1,max=16,unique,dive,required,max=64"`
}

// NamedServiceRequest names a service in the path.
type NamedServiceRequest struct {
	ID string `path:"id" validate:"required,max=64,printascii"`
}

// RotateServiceRequest gives a service a new secret.
type RotateServiceRequest struct {
	ID string `path:"id" validate:"required,max=64,printascii"`
	// OverlapSeconds is how long the secret before works; default 0.
	OverlapSeconds int `json:"overlap_seconds,omitempty" validate:"min=0,max=604800"`
}

// Service may ask for introspection and revocation.
type Service struct {
	ID        string    `json:"id"`
	Audiences []string  `json:"audiences"`
	CreatedAt time.Time `json:"created_at"`
	// PreviousUntil is when the secret before the current one stops working;
	// absent where there never was one.
	PreviousUntil *time.Time `json:"previous_secret_until,omitempty"`
}

// Services is every service.
type Services struct {
	Services []Service `json:"services"`
}

// NewService is a service and its secret, which is shown this once.
type NewService struct {
	ID        string   `json:"id"`
	Secret    string   `json:"secret"`
	Audiences []string `json:"audiences"`
	// UnusedAudiences are those that no token carries as the auth service is
	// configured now: a mistake, or not set up yet.
	UnusedAudiences []string `json:"unused_audiences,omitempty"`
	// PreviousUntil is when the secret before this one stops working; absent where
	// it has, or where there was none.
	PreviousUntil *time.Time `json:"previous_secret_until,omitempty"`
}
