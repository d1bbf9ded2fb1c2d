use async_graphql::connection::Connection;
use async_graphql::{Context, Object};

use crate::graphql::Asked;
use crate::graphql::connection::{connection, page};
use crate::graphql::error::{ApiError, Nullable};
use crate::graphql::product::ProductView;

pub struct ProductQueries;

#[Object]
impl ProductQueries {
    /// One product, or null. Needs no token.
    async fn product(&self, ctx: &Context<'_>, sku: String) -> Nullable<ProductView> {
        let find = async || Ok(ctx.payments()?.product(&sku).await?.map(ProductView::from));
        find().await.transpose()
    }

    /// The catalogue, by code. Needs no token.
    #[graphql(complexity = "first.unwrap_or(20).clamp(1, 50) as usize * child_complexity")]
    async fn products(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)", desc = "1 to 50.")] first: Option<i32>,
        #[graphql(desc = "The cursor after which to go on.")] after: Option<String>,
    ) -> Result<Connection<String, ProductView>, ApiError> {
        let page = page(first, None, None, None)?;
        let found = ctx.payments()?.products(page.size, after.as_deref()).await?;
        Ok(connection(found, |product| (product.sku.clone(), product.into())))
    }
}
