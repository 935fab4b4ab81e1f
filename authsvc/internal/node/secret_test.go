package node_test

// goodSecret is good for nothing but these tests.
const goodSecret = "bSVuzW1FVmWUbkxcHCGUX7xYTDe6Cd8GIsGJ8iODVuQ="
