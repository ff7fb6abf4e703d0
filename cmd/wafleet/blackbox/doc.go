// Package blackbox tests wafleet from outside: the binary as it is built runs as processes of its own (a simulator and a node, on
// each engine), and the tests speak to them in HTTP and WebSocket alone, as a customer's program does. The package has nothing
// but tests, imports none of ours but what runs a process, and takes what the API promises from the node's own /openapi.json: an operation of the document
// that the tables here do not know is a failure.
package blackbox
