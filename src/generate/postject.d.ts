/** The package has no types of its own. */
declare module "postject" {
  /** Writes a resource into an executable; throws an Error if it has no place for it. */
  export function inject(
    filename: string,
    resourceName: string,
    resourceData: Buffer,
    options: { readonly sentinelFuse: string },
  ): Promise<void>;
}
