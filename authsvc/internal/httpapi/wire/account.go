package wire

import "time"

// RegisterRequest is the body of POST /v1/accounts.
type RegisterRequest struct {
	Username string `json:"username" validate:"required,max=256"`
	Email    string `json:"email" validate:"required,max=254"`
	Password Secret `json:"password" validate:"required,max=4096"`
}

// Account is a user as the user and the admins see it.
type Account struct {
	Sub       string    `json:"sub"`
	Username  string    `json:"username"`
	Email     string    `json:"email"`
	Roles     []string  `json:"roles"`
	Status    string    `json:"status"` // active or disabled
	CreatedAt time.Time `json:"created_at"`
}

// Me is the answer of GET /v1/me: the account, and the session that asked.
type Me struct {
	Account Account `json:"account"`
	SID     string  `json:"sid"`
}

// AccountPage is one page of accounts; Next asks for the one after it.
type AccountPage struct {
	Accounts []Account `json:"accounts"`
	Next     string    `json:"next,omitempty"`
}

// PasswordRequest is the body of PUT /v1/me/password.
type PasswordRequest struct {
	CurrentPassword Secret `json:"current_password" validate:"required,max=4096"`
	NewPassword     Secret `json:"new_password" validate:"required,max=4096"`
}

// DeleteMeRequest is the body of DELETE /v1/me. The password shows that it is the
// user who asks, and not somebody at an unlocked screen.
type DeleteMeRequest struct {
	Password Secret `json:"password" validate:"required,max=4096"`
}

// BootstrapRequest is the body of POST /v1/admin/bootstrap: it trades the
// one-time secret for the first admin.
type BootstrapRequest struct {
	Secret   Secret `json:"secret" validate:"required,max=256"`
	Username string `json:"username" validate:"required,max=256"`
	Email    string `json:"email" validate:"required,max=254"`
	Password Secret `json:"password" validate:"required,max=4096"`
}
