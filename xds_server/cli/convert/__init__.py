"""From the mirroring of other projects to labels and annotations: documents in, lines of kubectl out."""
