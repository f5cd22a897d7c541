"""Where streams are served: in this process (`local`), or in several that share one port (`pool`,
`worker`)."""
