package events

// Every event struct says what it is and whom it is about.

func (AccountRegistered) Type() Type    { return TypeAccountRegistered }
func (AccountDisabled) Type() Type      { return TypeAccountDisabled }
func (AccountEnabled) Type() Type       { return TypeAccountEnabled }
func (AccountDeleted) Type() Type       { return TypeAccountDeleted }
func (PasswordChanged) Type() Type      { return TypePasswordChanged }
func (LoginSucceeded) Type() Type       { return TypeLoginSucceeded }
func (LoginFailed) Type() Type          { return TypeLoginFailed }
func (SessionRefreshed) Type() Type     { return TypeSessionRefreshed }
func (SessionEnded) Type() Type         { return TypeSessionEnded }
func (SessionRevoked) Type() Type       { return TypeSessionRevoked }
func (SessionReuseDetected) Type() Type { return TypeSessionReuseDetected }
func (TokenRevoked) Type() Type         { return TypeTokenRevoked }
func (UserRevoked) Type() Type          { return TypeUserRevoked }
func (EveryoneRevoked) Type() Type      { return TypeEveryoneRevoked }
func (KeyPublished) Type() Type         { return TypeKeyPublished }
func (KeyActivated) Type() Type         { return TypeKeyActivated }
func (KeyRetired) Type() Type           { return TypeKeyRetired }
func (KeyRevoked) Type() Type           { return TypeKeyRevoked }
func (CertificateRevoked) Type() Type   { return TypeCertificateRevoked }

func (e AccountRegistered) Subject() string    { return e.Sub }
func (e AccountDisabled) Subject() string      { return e.Sub }
func (e AccountEnabled) Subject() string       { return e.Sub }
func (e AccountDeleted) Subject() string       { return e.Sub }
func (e PasswordChanged) Subject() string      { return e.Sub }
func (e LoginSucceeded) Subject() string       { return e.Sub }
func (e LoginFailed) Subject() string          { return e.Sub }
func (e SessionRefreshed) Subject() string     { return e.Sub }
func (e SessionEnded) Subject() string         { return e.Sub }
func (e SessionRevoked) Subject() string       { return e.Sub }
func (e SessionReuseDetected) Subject() string { return e.Sub }
func (e TokenRevoked) Subject() string         { return e.Sub }
func (e UserRevoked) Subject() string          { return e.Sub }
func (EveryoneRevoked) Subject() string        { return "" }
func (KeyPublished) Subject() string           { return "" }
func (KeyActivated) Subject() string           { return "" }
func (KeyRetired) Subject() string             { return "" }
func (KeyRevoked) Subject() string             { return "" }
func (CertificateRevoked) Subject() string     { return "" }
